// The compiled websocketpp transport, and what attach compiles.
#include <muster/impl/websocketpp.ipp>
#include <muster/impl/websocketpp_attach.ipp>
