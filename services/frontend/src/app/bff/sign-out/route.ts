import { cookies } from "next/headers";
import { problem, sameOrigin } from "@/server/guard";
import { COOKIE, cookieOptions, forget, live, sessionKey } from "@/server/session";
import { gatewayUrl } from "@/server/settings";

/** End the session, here and at the gateway. Another site's page cannot: its requests say where they come from. */
export async function POST(request: Request): Promise<Response> {
  if (!sameOrigin(request)) {
    return problem(403, "This address is for Zentoria's own pages");
  }
  const key = await sessionKey();
  const found = key === undefined ? null : await live(key);
  if (key !== undefined && found !== null) {
    await fetch(`${gatewayUrl()}/api/v1/auth/logout`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ refresh_token: found.refresh }),
      signal: AbortSignal.timeout(10_000),
    }).catch(() => undefined);
    await forget(key);
  }
  (await cookies()).set(COOKIE, "", cookieOptions(0));
  return new Response(null, { status: 303, headers: { location: "/sign-in", "clear-site-data": '"cache"' } });
}
