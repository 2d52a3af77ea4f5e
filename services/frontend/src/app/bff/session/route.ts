import { problem, sameOrigin } from "@/server/guard";
import { session } from "@/server/session";

/** Who is signed in, and the token that this session's writes carry. */
export async function GET(request: Request): Promise<Response> {
  if (!sameOrigin(request)) {
    return problem(403, "This address is for Zentoria's own pages");
  }
  const found = await session();
  if (found === null) {
    return problem(401, "Nobody is signed in", "/problems/signed-out");
  }
  return Response.json({ user: found.user, csrf: found.csrf }, { headers: { "cache-control": "no-store" } });
}
