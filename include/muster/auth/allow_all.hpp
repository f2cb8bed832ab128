// AllowAll: an authorizer that says yes. For demonstrations, and where being authenticated is enough.
#pragma once

#include "muster/authorizer.hpp"
#include "muster/config.hpp"
#include "muster/reply.hpp"

namespace muster {
inline namespace MUSTER_ABI {

/// Everyone may do everything within their own tenant: tenants stay apart without an authorizer's help.
class AllowAll final : public Authorizer {
 public:
  void authorize(const Access&, Reply<Permission> done) override { done(Permission::allow()); }
};

}  // namespace MUSTER_ABI
}  // namespace muster
