// First steps, rooms, messages, and what the embedder handles.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "muster/core/flows/commands.hpp"
#include "muster/core/room/room_name.hpp"

namespace muster {
inline namespace MUSTER_ABI {
namespace core {

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Invalid& invalid) {
  writer_.tell_error(connection, &correlation, std::move(invalid.error));
  if (++connection.invalid_in_row >= options_.invalid_messages_max && options_.invalid_messages_max != 0) {
    ending_.end(connection, CloseReason::policy, "Too many invalid messages");
  }
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation,
                                command::Authenticate& authenticate) {
  if (connection.live()) {
    authenticating_.again(connection, correlation, std::move(authenticate.token));
  } else {
    authenticating_.first(connection, correlation, std::move(authenticate.token), true, nullptr);
  }
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Resume& resume) {
  resuming_.begin(connection, correlation, std::move(resume));
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Join& join) {
  if (auto error = joining_.refuse_early(connection, join.room, false)) {
    writer_.tell_error(connection, &correlation, std::move(*error));
    return;
  }
  authorizing_.demand(connection, Action::join, join.room, correlation,
                      [this, correlation, room = join.room](ConnectionState& allowed) mutable {
                        joining_.enter(allowed, {correlation, nullptr}, {allowed.identity_->tenant, std::move(room)});
                      });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Leave& leaving) {
  joining_.leave(connection, leaving.room);
  if (!correlation.reply || connection.ended()) return;
  event::RoomLeft left;
  left.room = leaving.room;
  writer_.tell(connection, left, &correlation);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Publish& publishing) {
  if (connection.membership(publishing.room) == nullptr) {
    writer_.tell_error(connection, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
    return;
  }
  if (!publishing.idempotency_key.empty() && options_.idempotency_keys == 0) {
    writer_.tell_error(connection, &correlation, {errc::not_supported, "idempotency_key is switched off here", {}});
    return;
  }
  if (publishing.idempotency_key.size() > options_.idempotency_key_bytes) {
    writer_.tell_error(
        connection, &correlation,
        {errc::too_large, "idempotency_key may have " + std::to_string(options_.idempotency_key_bytes) + " bytes", {}});
    return;
  }
  std::string about = publishing.room;  // not among the arguments, where the lambda may have taken it already
  authorizing_.demand(
      connection, Action::publish, std::move(about), correlation,
      [this, correlation, publishing = std::move(publishing)](ConnectionState& allowed) mutable {
        if (allowed.membership(publishing.room) == nullptr) {
          writer_.tell_error(allowed, &correlation, {errc::not_in_room, "Join the room before publishing to it", {}});
          return;
        }
        const RoomKey key{allowed.identity_->tenant, std::move(publishing.room)};
        const bool latest = publishing.delivery.kind() == Delivery::Kind::latest;
        if (!passes(allowed, correlation,
                    {key, publishing.data, latest ? PublicationKind::latest : PublicationKind::reliable,
                     publishing.delivery.key(), publishing.idempotency_key},
                    publishing.data)) {
          return;
        }
        Draft draft{std::move(publishing.data),
                    std::move(publishing.delivery),
                    publishing.echo ? ConnectionId() : allowed.member,
                    allowed.member,
                    allowed.identity_->user,
                    std::move(publishing.idempotency_key)};
        const auto answer = [this](ConnectionState& publisher, const Correlation& of, const Result<Published>& result) {
          if (!result) {
            writer_.tell_error(publisher, &of, result.error());
          } else if (of.reply) {
            event::Ack ack;
            if (result.value().position.seq != 0) ack.position = result.value().position;
            writer_.tell(publisher, ack, &of);
          }
        };
        if (!replicating_.is_on()) {
          answer(allowed, correlation, publishing_.publish_here(key, std::move(draft)));
          return;
        }
        questions_.ask<Result<Published>>(
            allowed,
            [&](Reply<Result<Published>> reply) {
              publishing_.publish(key, std::move(draft), [reply](Result<Published> done) { reply(std::move(done)); });
            },
            [correlation, answer](ConnectionState& publisher, Result<Published> result) {
              answer(publisher, correlation, result);
            },
            Error{errc::unavailable, "The broker did not answer in time", std::chrono::seconds(1)});
      });
}

MUSTER_INLINE bool Commands::passes(ConnectionState& connection, const Correlation& correlation,
                                    const Publication& publication, Payload& data) {
  const PublishInterceptor* const interceptor = hooks_.serving(*connection.loop).interceptor.get();
  if (interceptor == nullptr) return true;
  Verdict verdict;
  std::optional<Error> refused;
  const bool well = hooks_.handle(
      connection, [&] { verdict = (*interceptor)(connection, publication); }, refused, "An interceptor");
  if (!well) {
    ending_.end(connection, CloseReason::internal_error, {});
    return false;
  }
  if (!refused) refused = std::move(verdict.refusal());
  if (refused) {
    writer_.tell_error(connection, &correlation, std::move(*refused));
    return false;
  }
  if (verdict.is_taken()) {
    if (correlation.reply) writer_.tell(connection, event::Ack{}, &correlation);
    return false;
  }
  if (verdict.replacement()) data = std::move(*verdict.replacement());
  return true;
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Send& sending) {
  if (!options_.allow_send) {
    writer_.tell_error(connection, &correlation, {errc::permission_denied, "send is switched off here", {}});
    return;
  }
  std::string about = sending.user;  // here, as for publish
  authorizing_.demand(connection, Action::send, std::move(about), correlation,
                      [this, correlation, sending = std::move(sending)](ConnectionState& allowed) {
                        const std::string from_user = allowed.identity_->user;
                        if (sending.queued) {
                          queues_.send(allowed, correlation, sending);
                          return;
                        }
                        if (const auto full = rooms_.refuse_when_full({}))
                          return writer_.tell_error(allowed, &correlation, *full);
                        const auto targets = users_.of({allowed.identity_->tenant, sending.user});
                        for (const ConnectionPtr& target : targets) {
                          (void)target->loop->post([this, target, data = sending.data, from = allowed.member, from_user,
                                                    waiting = Waiting(bytes_.waiting(), sending.data.view().size())] {
                            event::DirectMessage direct;
                            direct.from = from;
                            direct.from_user = from_user;
                            direct.data = &data;
                            if (target->live()) writer_.tell(*target, direct);
                          });
                        }
                        if (!correlation.reply) return;
                        event::Ack ack;
                        ack.delivered = targets.size();
                        ack.queued = false;
                        writer_.tell(allowed, ack, &correlation);
                      });
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation,
                                command::AcknowledgeQueue& acknowledged) {
  queues_.acknowledge(connection, correlation, acknowledged.queue_id);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Answer& answer) {
  Requesting::answered(connection, answer.request, std::move(answer.result));
  if (correlation.reply && !connection.ended()) writer_.tell(connection, event::Ack{}, &correlation);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Ping& ping) {
  event::Pong pong;
  pong.payload = &ping.payload;
  writer_.tell(connection, pong, &correlation);
}

MUSTER_INLINE void Commands::on(ConnectionState& connection, Correlation& correlation, command::Custom& custom) {
  const auto refuse = [this](ConnectionState& asker, const Correlation& of, const std::string& type) {
    writer_.tell_error(asker, &of, {errc::unknown_message, "Unknown type \"" + type.substr(0, 64) + "\"", {}});
  };
  if (hooks_.serving(*connection.loop).find(custom.type) == nullptr)
    return refuse(connection, correlation, custom.type);
  std::string about = custom.type;  // here, as for publish
  authorizing_.demand(connection, Action::custom, std::move(about), correlation,
                      [this, refuse, correlation, custom = std::move(custom)](ConnectionState& allowed) {
                        const Payload& payload = custom.payload;
                        const Handler* const handler = hooks_.serving(*allowed.loop).find(custom.type);
                        if (handler == nullptr) return refuse(allowed, correlation, custom.type);
                        if (handler->later) return answering_.serve(allowed, correlation, *handler, payload);
                        std::optional<Error> refused;
                        allowed.handling = &correlation;
                        const bool well = hooks_.handle(
                            allowed, [&] { handler->at_once(allowed, payload); }, refused);
                        const bool replied = allowed.handling == nullptr;
                        allowed.handling = nullptr;
                        if (!well) {
                          ending_.end(allowed, CloseReason::internal_error, {});
                        } else if (refused && !replied) {
                          writer_.tell_error(allowed, &correlation, std::move(*refused));
                        } else if (!replied && correlation.reply) {
                          writer_.tell(allowed, event::Ack{}, &correlation);
                        }
                      });
}

}  // namespace core
}  // namespace MUSTER_ABI
}  // namespace muster
