import type { NextConfig } from "next";

const config: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: import.meta.dirname,
  // NGINX compresses, and a stream must not wait in a buffer of ours.
  compress: false,
  poweredByHeader: false,
  reactStrictMode: true,
  // Types are checked by `make lint`, once for a content.
  typescript: { ignoreBuildErrors: true },
  images: { unoptimized: true },
  outputFileTracingExcludes: { "*": ["node_modules/@img/**", "node_modules/sharp/**", "node_modules/typescript/**"] },
  // The same content shall give the same build, whenever and wherever it is made.
  generateBuildId: () => process.env.BUILD_ID ?? "development",
  turbopack: { root: import.meta.dirname },
};

export default config;
