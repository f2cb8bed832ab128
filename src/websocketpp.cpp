// The compiled websocketpp transport.
#include <muster/impl/websocketpp.ipp>
