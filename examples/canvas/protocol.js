// What client and server agreed on, what the client's options are, and what went wrong.

export const PROTOCOL = 'muster.v1.json';

/** What the server's close code asks of us. Every other one, and a lost connection: try again, when it says so not before. */
export const ADVICE = {
  1000: 'stop', 1002: 'stop', 1003: 'stop', 1007: 'stop', 1009: 'stop', 4003: 'stop', 4005: 'stop',
  4001: 'authenticate', 4002: 'new_token', 4004: 'kicked', 4008: 'resume', 4009: 'resume',
};

/** The server's error codes, and our own: offline, disconnected, timeout, closed. */
export class MusterError extends Error {
  constructor(code, message, { details, retryAfter } = {}) {
    super(message || code);
    Object.assign(this, { name: 'MusterError', code, details, retryAfter });
  }
}

/** Options of a Client. */
export const DEFAULTS = {
  token: undefined,          // string, or a function (may be async) asked before every attempt, told the last close code,
                             // and, told 'reauth_required', before the credentials of a live connection end
  tokenIn: 'message',        // 'message': first message `authenticate`; 'upgrade': subprotocol pair `bearer, <token>`
  client: undefined,         // awareness client id; by default the client's id
  storage: undefined,        // sessionStorage: a reload resumes (needs Web Locks, so a secure page); by default memory only
  storageKey: 'muster',
  retryPublish: false,       // give every publish an idempotency key, and repeat it when a loss cut it off
  acknowledge: 'automatically',   // the offline queue, or 'manually'
  connectTimeout: 10_000,    // ms until connection_ack, else the next attempt
  commandTimeout: 10_000,    // ms until a command without reply rejects with `timeout`
  pingInterval: 15_000,      // ms between application pings (0 = off)
  pongTimeout: 5_000,        // ms without any message after one: the connection is lost
  awarenessInterval: 50,     // ms between two awareness updates of one room
  backoffBase: 500,          // the n-th attempt waits a random time up to backoffBase * 2^n, at most backoffCap
  backoffCap: 30_000,
  stableAfter: 5_000,        // ms a connection must live to start the backoff anew
  random: Math.random,
};
