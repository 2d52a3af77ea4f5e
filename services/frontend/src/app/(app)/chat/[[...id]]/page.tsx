import type { Metadata } from "next";
import { Chat } from "@/components/chat/chat";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("chat.title") };
}

export default function Page() {
  return <Chat />;
}
