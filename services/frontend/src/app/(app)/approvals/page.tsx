import type { Metadata } from "next";
import { Inbox } from "@/components/approvals/inbox";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("approvals.title") };
}

export default function Page() {
  return <Inbox />;
}
