import type { Metadata } from "next";
import { System } from "@/components/system/system";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("system.title") };
}

export default function Page() {
  return <System />;
}
