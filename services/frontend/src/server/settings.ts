import "server-only";

/** Where the gateway is, as the inventory says. */
export function gatewayUrl(): string {
  return process.env.ZENTORIA_GATEWAY_URL ?? "http://127.0.0.1:4000";
}

/** The folder of sessions; systemd makes it (`StateDirectory=`). */
export function stateFolder(): string {
  return process.env.STATE_DIRECTORY ?? `${process.cwd()}/.next/state`;
}
