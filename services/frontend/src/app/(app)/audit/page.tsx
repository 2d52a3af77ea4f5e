import type { Metadata } from "next";
import { Trail } from "@/components/audit/trail";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("audit.title") };
}

export default function Page() {
  return <Trail />;
}
