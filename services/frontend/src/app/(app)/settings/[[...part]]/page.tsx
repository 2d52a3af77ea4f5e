import type { Metadata } from "next";
import { Settings } from "@/components/settings/settings";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("settings.title") };
}

export default async function Page({ params }: { params: Promise<{ part?: string[] }> }) {
  return <Settings part={(await params).part?.[0] ?? "profile"} publicUrl={process.env.ZENTORIA_PUBLIC_URL ?? ""} />;
}
