// The compiled JWT authenticator.
#include <muster/auth/jwt_authenticator/jwt_authenticator.ipp>
