import {
  Blocks,
  FileText,
  Gauge,
  type LucideIcon,
  MessageSquare,
  ScrollText,
  Settings,
  ShieldCheck,
} from "lucide-react";
import type { Key } from "@/i18n";

export type Place = { href: string; label: Key; icon: LucideIcon; go: string };

/** Where one can go; `go` is the key after `g`. */
export const PLACES: Place[] = [
  { href: "/chat", label: "nav.chat", icon: MessageSquare, go: "c" },
  { href: "/files", label: "nav.files", icon: FileText, go: "f" },
  { href: "/approvals", label: "nav.approvals", icon: ShieldCheck, go: "a" },
  { href: "/workflows", label: "nav.workflows", icon: Blocks, go: "w" },
  { href: "/system", label: "nav.system", icon: Gauge, go: "s" },
  { href: "/audit", label: "nav.audit", icon: ScrollText, go: "p" },
  { href: "/settings", label: "nav.settings", icon: Settings, go: "e" },
];

/** The places at the bottom of a small screen. */
export const BOTTOM = ["/chat", "/files", "/approvals", "/system", "/settings"];
