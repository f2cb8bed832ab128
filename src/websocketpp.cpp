// The compiled websocketpp transport, and what attach compiles.
#include <muster/transports/websocketpp/attach.ipp>
#include <muster/transports/websocketpp/websocketpp.ipp>
