import type { ComponentProps } from "react";
import { cn } from "@/lib/cn";

export const inputStyle =
  "h-9 w-full min-w-0 rounded-md border border-edge bg-raised px-3 text-sm outline-offset-1 placeholder:text-muted disabled:opacity-60 pointer-coarse:h-10 pointer-coarse:text-base";

export function Input({ className, type = "text", ...rest }: ComponentProps<"input">) {
  return <input type={type} className={cn(inputStyle, className)} {...rest} />;
}

export function Select({ className, ...rest }: ComponentProps<"select">) {
  return <select className={cn(inputStyle, "w-auto pr-8", className)} {...rest} />;
}

/** A label above its field. */
export function Field({ label, children, hint }: { label: string; children: React.ReactNode; hint?: string }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the field is the child
    <label className="block space-y-1.5">
      <span className="block font-medium text-sm">{label}</span>
      {children}
      {hint && <span className="block text-muted text-xs">{hint}</span>}
    </label>
  );
}
