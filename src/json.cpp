// The compiled JSON protocol.
#include <muster/protocols/json_protocol/json_protocol.ipp>
