// The compiled core: every body of layers 0 to 2, once.
#include <muster/core/core.ipp>
