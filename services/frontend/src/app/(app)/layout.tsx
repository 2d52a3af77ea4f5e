import { cookies, headers } from "next/headers";
import { redirect } from "next/navigation";
import type { ReactNode } from "react";
import { Shell } from "@/components/shell/shell";
import { session } from "@/server/session";

/** Everything that wants a session. */
export default async function AppLayout({ children }: { children: ReactNode }) {
  const found = await session();
  if (found === null) {
    redirect(`/sign-in?next=${encodeURIComponent((await headers()).get("x-path") ?? "/")}`);
  }
  const jar = await cookies();
  return (
    <Shell user={found.user} csrf={found.csrf} narrow={jar.get("rail")?.value === "narrow"}>
      {children}
    </Shell>
  );
}
