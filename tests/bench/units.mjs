// What the load client reports in bytes and microseconds, as the table has it.

export const kib = (bytes) => bytes / 1024;
export const ms = (us) => us / 1000;
