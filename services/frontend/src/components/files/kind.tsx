import { File, FileAudio, FileCode, FileImage, FileText, type LucideIcon } from "lucide-react";

const ICONS: [RegExp, LucideIcon][] = [
  [/^image\//, FileImage],
  [/^audio\//, FileAudio],
  [/pdf|word|opendocument|^text\/(plain|markdown)/, FileText],
  [/json|xml|^text\//, FileCode],
];

/** The picture of a kind of file. */
export function KindIcon({ mime, className }: { mime: string; className?: string }) {
  const Icon = ICONS.find(([pattern]) => pattern.test(mime))?.[1] ?? File;
  return <Icon aria-hidden className={`size-4 shrink-0 stroke-[1.5] text-muted ${className ?? ""}`} />;
}
