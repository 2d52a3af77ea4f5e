"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import { cn } from "@/lib/cn";
import { useConversations } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { ConversationMenu } from "../chat/conversation-menu";
import { Button } from "../ui/button";

/** Conversations, what changed last first. */
export function Recent({ className }: { className?: string }) {
  const t = useTexts();
  const path = usePathname();
  const list = useConversations();
  if (!list.data?.length) {
    return <div className={className} />;
  }
  return (
    <div className={className}>
      <h2 className="px-2.5 pb-1 text-muted text-xs">{t("nav.recent")}</h2>
      <ul>
        {list.data.map((one) => {
          const here = path === `/chat/${one.id}`;
          return (
            <li key={one.id} className="group relative">
              <Link
                href={`/chat/${one.id}`}
                aria-current={here ? "page" : undefined}
                className={cn(
                  "block truncate rounded-md py-1.5 pr-9 pl-2.5 text-muted hover:bg-hover hover:text-text pointer-coarse:py-2.5",
                  here && "bg-hover text-text",
                )}
              >
                {one.title || t("chat.untitled")}
              </Link>
              <div className="absolute top-0 right-0.5 opacity-0 focus-within:opacity-100 group-hover:opacity-100 pointer-coarse:opacity-100">
                <ConversationMenu conversation={one} />
              </div>
            </li>
          );
        })}
      </ul>
      {list.hasNextPage && (
        <Button size="sm" variant="ghost" className="my-1 w-full text-muted" onClick={() => void list.fetchNextPage()}>
          {t("do.more")}
        </Button>
      )}
    </div>
  );
}
