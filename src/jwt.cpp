// The compiled JWT authenticator.
#include <muster/impl/jwt_authenticator.ipp>
