import { cookies } from "next/headers";
import { localPath, problem, sameOrigin } from "@/server/guard";
import { begin, COOKIE, cookieOptions } from "@/server/session";
import { gatewayUrl } from "@/server/settings";

const FIELDS = ["email", "password", "otp", "challenge", "passkey"] as const;
const CHALLENGE = "__Host-zentoria_step";

/**
 * Sign in, by a form or by JSON. What the form says is asked of the gateway; its tokens stay here. A form is sent on
 * to a page in any case (it works without script), JSON gets an answer.
 */
export async function POST(request: Request): Promise<Response> {
  if (!sameOrigin(request)) {
    return problem(403, "This address is for Zentoria's own pages");
  }
  const form = !(request.headers.get("content-type") ?? "").startsWith("application/json");
  const given: Record<string, unknown> = form
    ? Object.fromEntries(await request.formData().catch(() => new FormData()))
    : await request.json().catch(() => ({}));
  const next = localPath(String(given.next ?? ""));
  const jar = await cookies();
  if (given.otp && !given.challenge && !given.password) {
    given.challenge = jar.get(CHALLENGE)?.value;
  }
  const sent = Object.fromEntries(FIELDS.filter((name) => given[name]).map((name) => [name, given[name]]));
  const answer = await fetch(`${gatewayUrl()}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json", ...about(request) },
    body: JSON.stringify(sent),
    cache: "no-store",
    signal: AbortSignal.timeout(30_000),
  }).catch(() => null);
  const body = (await answer?.json().catch(() => null)) ?? null;
  if (answer?.ok && body !== null) {
    const made = await begin(body);
    jar.set(COOKIE, made.key, cookieOptions(made.session.refreshUntil));
    jar.delete({ name: CHALLENGE, path: "/", secure: true });
    return form ? see(next) : Response.json({ next });
  }
  const [status, kind] = [answer?.status ?? 503, String(body?.type ?? "").replace("/problems/", "")];
  if (kind === "otp-required" && body?.challenge) {
    jar.set(CHALLENGE, body.challenge, cookieOptions(Date.now() + 10 * 60_000));
  }
  if (form) {
    const error =
      kind === "otp-required"
        ? ""
        : kind === "wrong-code"
          ? "code"
          : status === 429
            ? "many"
            : status >= 500
              ? "away"
              : "wrong";
    const step = kind === "otp-required" || (given.challenge && status === 401) ? "code" : "";
    const query = new URLSearchParams(Object.entries({ next, step, error }).filter(([, value]) => value));
    return see(`/sign-in?${query}`);
  }
  return problem(status, String(body?.detail ?? "The gateway does not answer"), String(body?.type ?? "about:blank"), {
    factors: body?.factors,
    challenge: body?.challenge,
    request_id: body?.request_id,
    retry_after: answer?.headers.get("retry-after"),
  });
}

function see(location: string): Response {
  return new Response(null, { status: 303, headers: { location } });
}

/** Whom it is for: the gateway counts attempts by address, and names sessions by browser. */
function about(request: Request): Record<string, string> {
  const names = ["user-agent", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];
  return Object.fromEntries(names.flatMap((name) => [[name, request.headers.get(name) ?? ""]]).filter(([, v]) => v));
}
