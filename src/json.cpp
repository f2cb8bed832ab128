// The compiled JSON protocol.
#include <muster/impl/json_protocol.ipp>
