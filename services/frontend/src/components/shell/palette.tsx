"use client";

import { Command } from "cmdk";
import { Keyboard, LogOut, type LucideIcon, MessageSquare, Moon, Plus, Sun, SunMoon, Upload } from "lucide-react";
import { useRouter } from "next/navigation";
import type { ReactNode } from "react";
import { setTheme, signOut } from "@/lib/preferences";
import { useConversations } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { PLACES } from "./places";

/** Everything by its name. */
export default function Palette({ close, openKeys }: { close: () => void; openKeys: () => void }) {
  const t = useTexts();
  const router = useRouter();
  const conversations = useConversations();
  const run = (what: () => void) => () => {
    close();
    what();
  };
  return (
    <Command.Dialog
      open
      onOpenChange={close}
      label={t("palette.title")}
      overlayClassName="fixed inset-0 z-40 animate-fade bg-black/35"
      contentClassName="fixed top-[14vh] left-1/2 z-50 w-[min(92vw,36rem)] -translate-x-1/2 animate-fade overflow-hidden rounded-lg border bg-raised shadow-float"
    >
      <Command.Input
        placeholder={t("palette.hint")}
        className="h-12 w-full border-b bg-transparent px-4 text-base outline-none placeholder:text-muted"
      />
      <Command.List className="max-h-[55vh] overflow-y-auto p-1.5 [&_[cmdk-group-heading]]:px-2.5 [&_[cmdk-group-heading]]:pt-2 [&_[cmdk-group-heading]]:pb-1 [&_[cmdk-group-heading]]:text-muted [&_[cmdk-group-heading]]:text-xs">
        <Command.Empty className="px-3 py-8 text-center text-muted">{t("palette.none")}</Command.Empty>
        <Command.Group heading={t("palette.go")}>
          {PLACES.map((one) => (
            <Item key={one.href} icon={one.icon} hint={`g ${one.go}`} onSelect={run(() => router.push(one.href))}>
              {t(one.label)}
            </Item>
          ))}
        </Command.Group>
        <Command.Group heading={t("palette.do")}>
          <Item icon={Plus} hint="n" onSelect={run(() => router.push("/chat"))}>
            {t("chat.new")}
          </Item>
          <Item icon={Upload} onSelect={run(() => router.push("/files?upload=1"))}>
            {t("files.upload")}
          </Item>
          <Item icon={Sun} onSelect={run(() => setTheme("light"))}>
            {t("theme.title")}: {t("theme.light")}
          </Item>
          <Item icon={Moon} onSelect={run(() => setTheme("dark"))}>
            {t("theme.title")}: {t("theme.dark")}
          </Item>
          <Item icon={SunMoon} onSelect={run(() => setTheme("system"))}>
            {t("theme.title")}: {t("theme.system")}
          </Item>
          <Item icon={Keyboard} hint="?" onSelect={run(openKeys)}>
            {t("keys.title")}
          </Item>
          <Item icon={LogOut} onSelect={run(signOut)}>
            {t("sign_out.do")}
          </Item>
        </Command.Group>
        {!!conversations.data?.length && (
          <Command.Group heading={t("palette.recent")}>
            {conversations.data.map((one) => (
              <Item
                key={one.id}
                value={`${one.title} ${one.id}`}
                icon={MessageSquare}
                onSelect={run(() => router.push(`/chat/${one.id}`))}
              >
                {one.title || t("chat.untitled")}
              </Item>
            ))}
          </Command.Group>
        )}
      </Command.List>
    </Command.Dialog>
  );
}

type ItemProps = { icon: LucideIcon; hint?: string; value?: string; onSelect: () => void; children: ReactNode };

function Item({ icon: Icon, hint, value, onSelect, children }: ItemProps) {
  return (
    <Command.Item
      value={value}
      onSelect={onSelect}
      className="flex cursor-pointer items-center gap-2.5 rounded-md px-2.5 py-2 data-[selected=true]:bg-hover"
    >
      <Icon aria-hidden className="size-4 shrink-0 stroke-[1.5] text-muted" />
      <span className="min-w-0 grow truncate">{children}</span>
      {hint && <kbd className="text-muted text-xs">{hint}</kbd>}
    </Command.Item>
  );
}
