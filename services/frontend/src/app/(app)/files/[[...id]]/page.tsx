import type { Metadata } from "next";
import { DocumentPage } from "@/components/document/document";
import { FileList } from "@/components/files/list";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("files.title") };
}

type Props = { params: Promise<{ id?: string[] }>; searchParams: Promise<{ page?: string }> };

export default async function Files({ params, searchParams }: Props) {
  const id = (await params).id?.[0];
  const page = Number((await searchParams).page) || undefined;
  return id ? <DocumentPage key={id} fileId={id} page={page} /> : <FileList />;
}
