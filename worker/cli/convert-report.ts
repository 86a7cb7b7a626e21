import type { Conversion } from '../../schemas/image/convert.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { formatBytes, formatTable } from './terminal.ts';

/** What `convert -o json` prints. Sizes are in bytes; a layer that several images share is counted once. */
export interface ConversionReport {
  readonly digest: Digest;
  readonly sourceSizeBytes: number;
  readonly sizeBytes: number;
  /** 1.2 when the result is 1.2 % larger. */
  readonly overheadPercent: number;
  readonly images: readonly {
    readonly sourceDigest: Digest;
    readonly digest: Digest;
    readonly tocDigest: Digest;
    readonly layers: readonly {
      readonly sourceDigest: Digest;
      readonly digest: Digest;
      readonly sourceSizeBytes: number;
      readonly sizeBytes: number;
    }[];
  }[];
  readonly copied: readonly { readonly digest: Digest; readonly reason: string }[];
}

function overheadPercent(beforeBytes: number, afterBytes: number): number {
  return beforeBytes === 0 ? 0 : Math.round((afterBytes / beforeBytes - 1) * 10_000) / 100;
}

export function conversionReport(conversion: Conversion): ConversionReport {
  const images = conversion.images.map((image) => ({
    sourceDigest: image.sourceDigest,
    digest: image.manifest.digest,
    tocDigest: image.tocDigest,
    layers: image.layers.map((layer) => ({
      sourceDigest: layer.source.digest,
      digest: layer.digest,
      sourceSizeBytes: layer.source.size,
      sizeBytes: layer.sizeBytes,
    })),
  }));
  const layers = new Map(images.flatMap((image) => image.layers.map((layer) => [layer.sourceDigest, layer])));
  const sourceSizeBytes = layers.values().reduce((sum, layer) => sum + layer.sourceSizeBytes, 0);
  const sizeBytes = layers.values().reduce((sum, layer) => sum + layer.sizeBytes, 0);
  return {
    digest: conversion.root.digest,
    sourceSizeBytes,
    sizeBytes,
    overheadPercent: overheadPercent(sourceSizeBytes, sizeBytes),
    images,
    copied: conversion.copied,
  };
}

function signed(percent: number): string {
  return `${percent > 0 ? '+' : ''}${percent.toFixed(2)} %`;
}

/** For people. */
export function reportText(report: ConversionReport, destination: string): string {
  const rows = [['LAYER', 'BEFORE', 'AFTER', 'OVERHEAD']];
  const seen = new Set<Digest>();
  for (const layer of report.images.flatMap((image) => image.layers)) {
    if (seen.has(layer.sourceDigest)) continue;
    seen.add(layer.sourceDigest);
    const { sourceSizeBytes: before, sizeBytes: after } = layer;
    const overhead = signed(overheadPercent(before, after));
    rows.push([layer.sourceDigest.slice(0, 19), formatBytes(before), formatBytes(after), overhead]);
  }
  rows.push([
    'total',
    formatBytes(report.sourceSizeBytes),
    formatBytes(report.sizeBytes),
    signed(report.overheadPercent),
  ]);
  const copied = report.copied.map((one) => `${one.digest} copied as it is: ${one.reason}\n`).join('');
  return `${report.images.length === 0 ? '' : formatTable(rows)}${copied}${destination} is ${report.digest}\n`;
}
