"use client";

import * as Primitive from "@radix-ui/react-dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";
import { useTexts } from "@/lib/texts";
import { Button } from "./button";

type Props = {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  description?: string;
  children?: ReactNode;
  className?: string;
};

/** A window in the middle of the page. */
export function Dialog({ open, onOpenChange, title, description, children, className }: Props) {
  const t = useTexts();
  return (
    <Primitive.Root open={open} onOpenChange={onOpenChange}>
      <Primitive.Portal>
        <Primitive.Overlay className="fixed inset-0 z-40 animate-fade bg-black/35" />
        <Primitive.Content
          aria-describedby={undefined}
          className={cn(
            "fixed top-[12vh] left-1/2 z-50 max-h-[76vh] w-[min(92vw,28rem)] -translate-x-1/2 animate-fade overflow-y-auto rounded-lg border bg-raised p-5 shadow-float",
            className,
          )}
        >
          <div className="mb-4 flex items-start gap-4">
            <div className="grow">
              <Primitive.Title className="font-semibold text-base">{title}</Primitive.Title>
              {description && <p className="mt-1 text-muted">{description}</p>}
            </div>
            <Primitive.Close asChild>
              <Button variant="ghost" size="icon-sm" aria-label={t("do.close")} className="-mt-1 -mr-2">
                <X aria-hidden />
              </Button>
            </Primitive.Close>
          </div>
          {children}
        </Primitive.Content>
      </Primitive.Portal>
    </Primitive.Root>
  );
}

/** A sheet from the left or from below, for small screens. */
export function Sheet({ open, onOpenChange, title, children, side }: Props & { side: "left" | "bottom" }) {
  return (
    <Primitive.Root open={open} onOpenChange={onOpenChange}>
      <Primitive.Portal>
        <Primitive.Overlay className="fixed inset-0 z-40 animate-fade bg-black/35" />
        <Primitive.Content
          aria-describedby={undefined}
          className={cn(
            "fixed z-50 flex flex-col border bg-background shadow-float",
            side === "left"
              ? "inset-y-0 left-0 w-[min(86vw,20rem)] animate-fade"
              : "inset-x-0 bottom-0 h-[88dvh] animate-rise rounded-t-lg",
          )}
        >
          <Primitive.Title className="sr-only">{title}</Primitive.Title>
          {children}
        </Primitive.Content>
      </Primitive.Portal>
    </Primitive.Root>
  );
}
