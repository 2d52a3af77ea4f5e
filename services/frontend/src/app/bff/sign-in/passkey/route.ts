import { problem, sameOrigin } from "@/server/guard";
import { gatewayUrl } from "@/server/settings";

/** What to ask the browser for a passkey. */
export async function POST(request: Request): Promise<Response> {
  if (!sameOrigin(request)) {
    return problem(403, "This address is for Zentoria's own pages");
  }
  const forwarded = request.headers.get("x-forwarded-for");
  const answer = await fetch(`${gatewayUrl()}/api/v1/auth/passkeys/options`, {
    method: "POST",
    headers: forwarded ? { "x-forwarded-for": forwarded } : {},
    cache: "no-store",
    signal: AbortSignal.timeout(15_000),
  }).catch(() => null);
  if (answer === null) {
    return problem(503, "The gateway does not answer", "/problems/unavailable");
  }
  return new Response(answer.body, {
    status: answer.status,
    headers: { "content-type": answer.headers.get("content-type") ?? "application/json" },
  });
}
