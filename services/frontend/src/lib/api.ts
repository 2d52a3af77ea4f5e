import { useOnline } from "./status";

/** What the gateway or the server said went wrong (RFC 9457). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly kind: string,
    readonly requestId: string | null,
    readonly members: Record<string, unknown> = {},
  ) {
    super(detail);
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;
type Options = { query?: Query; body?: unknown; headers?: Record<string, string>; signal?: AbortSignal };

let csrf = "";

/** The token that writes carry; it belongs to the session, and pages get it from the server. */
export function setCsrf(token: string): void {
  csrf = token;
}

export function csrfToken(): string {
  return csrf;
}

/** Ask the gateway, through our own server: `path` as in its OpenAPI document. */
export async function call<R>(method: string, path: string, options: Options = {}): Promise<R> {
  let answer = await ask(method, path, options);
  if (answer.status === 403 && (await kindOf(answer.clone())) === "csrf") {
    // Somebody signed in anew in another tab: the cookie is another session's.
    const session = await fetch("/bff/session");
    if (session.ok) {
      setCsrf((await session.json()).csrf);
      answer = await ask(method, path, options);
    }
  }
  useOnline.getState().reached();
  if (answer.ok) {
    return (answer.status === 204 ? undefined : await answer.json()) as R;
  }
  throw await errorOf(answer);
}

/** The address of something that the browser itself fetches. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return `/bff${path}${text ? `?${text}` : ""}`;
}

/** The error that an answer is. */
export async function errorOf(answer: Response): Promise<ApiError> {
  const body: Record<string, unknown> = await answer.json().catch(() => ({}));
  const kind = String(body.type ?? "").replace("/problems/", "");
  if (answer.status === 401 && kind !== "bad-credentials") {
    useOnline.getState().signedOut();
  }
  const id = (body.request_id as string | undefined) ?? answer.headers.get("x-request-id");
  return new ApiError(answer.status, String(body.detail ?? body.title ?? ""), kind, id, body);
}

async function ask(method: string, path: string, { query, body, headers, signal }: Options): Promise<Response> {
  const sent: Record<string, string> = { accept: "application/json", ...headers };
  if (method !== "GET") {
    sent["x-csrf-token"] = csrf;
  }
  if (body !== undefined) {
    sent["content-type"] = "application/json";
  }
  try {
    return await fetch(address(path, query), {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    useOnline.getState().lost();
    throw new ApiError(0, "", "network", null);
  }
}

async function kindOf(answer: Response): Promise<string> {
  const body = await answer.json().catch(() => ({}));
  return String(body.type ?? "").replace("/problems/", "");
}
