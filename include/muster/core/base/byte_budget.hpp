// ByteBudget: bytes that are kept for later and can be given up, counted over all and for each tenant.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "muster/core/base/mutex.hpp"
#include "muster/types.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

/// Bytes that wait somewhere, in the sum of all while it lives.
class Waiting {
 public:
  Waiting(std::shared_ptr<std::atomic<std::size_t>> sum, std::size_t bytes) : sum_(std::move(sum)), bytes_(bytes) {
    *sum_ += bytes_;
  }
  ~Waiting() {
    if (sum_) *sum_ -= bytes_;
  }
  Waiting(Waiting&&) noexcept = default;  // empties `sum_`
  Waiting& operator=(Waiting&&) = delete;

 private:
  std::shared_ptr<std::atomic<std::size_t>> sum_;
  const std::size_t bytes_;
};

/// Something that keeps bytes, and drops its oldest when told to: a room with its history.
struct ByteHolder {
  std::atomic<std::size_t> held{0};
  /// When the oldest of them came, as TimePoint counts it.
  std::atomic<TimePoint::rep> oldest{0};
  /// Among its account's holders.
  std::atomic<bool> listed{false};

 protected:
  ByteHolder() = default;
  ~ByteHolder() = default;
};

/// Who is over a limit makes room by dropping the oldest there is. Finding exactly that would take one order over all
/// rooms, and a lock that every publish takes; so the oldest of a few is taken, and the few move on round the table
/// (approximated LRU, as Redis evicts by samples). Counting is atomic; a lock is taken only by a room that begins to
/// keep something, and by who is over a limit.
class ByteBudget {
 public:
  /// One tenant's bytes. Shared by the tenant's rooms, which may outlive the budget.
  class Account {
   public:
    Account(std::shared_ptr<std::atomic<std::size_t>> total, std::shared_ptr<std::atomic<std::size_t>> waiting)
        : total_(std::move(total)), waiting_(std::move(waiting)) {}
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    /// A holder has `to` bytes where it had `from`.
    void change(std::size_t from, std::size_t to) noexcept {
      bytes_ += to - from;  // modulo 2^n: also down
      *total_ += to - from;
    }
    /// The same for what a holder cannot give up, since others are to be sent it.
    void change_waiting(std::size_t from, std::size_t to) noexcept { *waiting_ += to - from; }

   private:
    friend class ByteBudget;
    const std::shared_ptr<std::atomic<std::size_t>> total_;
    const std::shared_ptr<std::atomic<std::size_t>> waiting_;
    std::atomic<std::size_t> bytes_{0};
    Mutex mutex_;
    std::vector<std::weak_ptr<ByteHolder>> holders_ MUSTER_GUARDED_BY(mutex_);
    std::size_t hand_ MUSTER_GUARDED_BY(mutex_) = 0;
    std::size_t prune_at_ MUSTER_GUARDED_BY(mutex_) = 64;
  };
  using AccountPtr = std::shared_ptr<Account>;
  using HolderPtr = std::shared_ptr<ByteHolder>;

  /// 0 is no limit.
  ByteBudget(std::size_t total_limit, std::size_t tenant_limit)
      : total_limit_(total_limit), tenant_limit_(tenant_limit) {}

  [[nodiscard]] AccountPtr account(const std::string& tenant) {
    Lock lock(mutex_);
    AccountPtr& account = accounts_[tenant];
    if (!account) account = std::make_shared<Account>(total_, waiting_);
    return account;
  }
  /// What holders keep.
  [[nodiscard]] std::size_t bytes() const noexcept { return *total_; }
  /// What waits for slow peers and for executors that are behind. It counts against the limit of all, too, and nobody
  /// can give it up.
  [[nodiscard]] const std::shared_ptr<std::atomic<std::size_t>>& waiting() const noexcept { return waiting_; }
  /// Whether what waits is beyond the limit by itself: then nothing may be added.
  [[nodiscard]] bool is_full() const noexcept { return total_limit_ != 0 && *waiting_ > total_limit_; }
  /// Whether `more` bytes would fit; with 0: whether the limits are kept.
  [[nodiscard]] bool fits(const Account& account, std::size_t more = 0) const noexcept {
    return (tenant_limit_ == 0 || account.bytes() + more <= tenant_limit_) &&
           (total_limit_ == 0 || bytes() + *waiting_ + more <= total_limit_);
  }

  /// Makes known who keeps bytes: before that, and when it has none, nobody asks it to drop any.
  static void list(Account& account, const HolderPtr& holder) {
    if (holder->held == 0 || holder->listed || holder->listed.exchange(true)) return;
    Lock lock(account.mutex_);
    if (account.holders_.size() >= account.prune_at_) {
      for (std::size_t i = account.holders_.size(); i > 0; --i) {
        if (account.holders_[i - 1].expired()) remove(account, i - 1);
      }
      account.prune_at_ = std::max<std::size_t>(64, 2 * account.holders_.size());
    }
    account.holders_.emplace_back(holder);
  }

  /// Who is to drop something so that `account` gets below the limits: the oldest of a few, or none.
  [[nodiscard]] HolderPtr victim(const AccountPtr& account) {
    if (tenant_limit_ != 0 && account->bytes() > tenant_limit_) return oldest_of(*account);
    std::array<AccountPtr, sample> some;
    {
      Lock lock(mutex_);
      const std::size_t buckets = accounts_.bucket_count();
      std::size_t taken = 0;
      for (std::size_t left = std::min(buckets, most_buckets); left > 0 && taken < sample; --left, ++hand_) {
        for (auto at = accounts_.begin(hand_ % buckets); at != accounts_.end(hand_ % buckets) && taken < sample; ++at) {
          if (at->second->bytes() != 0) some[taken++] = at->second;
        }
      }
    }
    HolderPtr oldest;
    for (const AccountPtr& one : some) {
      if (!one) break;
      HolderPtr found = oldest_of(*one);
      if (found && (!oldest || found->oldest < oldest->oldest)) oldest = std::move(found);
    }
    return oldest;
  }

  /// Forgets tenants that keep nothing, of so many as are looked at in one call; the next call goes on from there.
  void prune(std::size_t most = 4096) {
    Lock lock(mutex_);
    for (std::size_t left = std::min(accounts_.bucket_count(), most); left > 0; --left, ++pruned_) {
      const std::size_t bucket = pruned_ % accounts_.bucket_count();
      for (auto at = accounts_.begin(bucket), end = accounts_.end(bucket); at != end;) {
        const auto& one = *at++;
        if (one.second.use_count() == 1) accounts_.erase(accounts_.find(one.first));
      }
    }
  }
  [[nodiscard]] std::size_t accounts() const {
    Lock lock(mutex_);
    return accounts_.size();
  }

 private:
  static constexpr std::size_t sample = 8;
  /// Looked at for tenants that keep anything; who finds none drops its own, and the next goes on from there.
  static constexpr std::size_t most_buckets = 256;

  static void remove(Account& account, std::size_t index) MUSTER_REQUIRES(account.mutex_) {
    std::swap(account.holders_[index], account.holders_.back());
    account.holders_.pop_back();
  }
  /// The oldest of the next few. Those that keep nothing any more leave the list on the way.
  [[nodiscard]] static HolderPtr oldest_of(Account& account) {
    std::array<HolderPtr, sample> some;  // let go of after the lock: a room may end with it
    std::vector<HolderPtr> done;
    std::size_t taken = 0;
    {
      Lock lock(account.mutex_);
      for (std::size_t left = account.holders_.size(); left > 0 && taken < sample; --left) {
        if (account.hand_ >= account.holders_.size()) account.hand_ = 0;
        HolderPtr holder = account.holders_[account.hand_].lock();
        if (holder && holder->held == 0) {
          holder->listed = false;  // in this order: who adds bytes meanwhile sees one or the other
          if (holder->held == 0 || holder->listed.exchange(true)) done.push_back(std::exchange(holder, nullptr));
        }
        if (holder) {
          some[taken++] = std::move(holder);
          ++account.hand_;
        } else {
          remove(account, account.hand_);
        }
      }
    }
    std::size_t best = 0;
    for (std::size_t i = 1; i < taken; ++i) {
      if (some[i]->oldest < some[best]->oldest) best = i;
    }
    return some[best];
  }

  const std::size_t total_limit_;
  const std::size_t tenant_limit_;
  const std::shared_ptr<std::atomic<std::size_t>> total_{new std::atomic<std::size_t>(0)};
  const std::shared_ptr<std::atomic<std::size_t>> waiting_{new std::atomic<std::size_t>(0)};
  mutable Mutex mutex_;
  std::unordered_map<std::string, AccountPtr> accounts_ MUSTER_GUARDED_BY(mutex_);
  std::size_t hand_ MUSTER_GUARDED_BY(mutex_) = 0;
  std::size_t pruned_ MUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
