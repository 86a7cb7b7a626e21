import { Command } from 'commander';
import type { StatusBody } from '../control/protocol.ts';
import type { ContextSource } from './context.ts';
import { formatBytes, formatTable } from './terminal.ts';

export function statusCommand(context: ContextSource): Command {
  return new Command('status')
    .summary('images, how far they have arrived, and the store')
    .description(
      'Shows the images that the daemon holds, how much of each has arrived, and what the store takes up.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  ctr-starlight status\n  ctr-starlight -o json status | jq -r ".images[].reference"',
    )
    .action(async () => {
      const { daemon, terminal, signal } = context();
      const status = await daemon.get<StatusBody>('/v1/status', signal);
      terminal.out(terminal.json ? `${JSON.stringify(status)}\n` : statusText(status));
    });
}

/** What `status` prints for a person. */
export function statusText(status: StatusBody): string {
  const head =
    `daemon ${status.version}, file system driver ${status.driver}, optimizer ${status.optimizer ? 'on' : 'off'}\n` +
    (status.completeForm.usable ? '' : `images stay served by the daemon: ${status.completeForm.reason}\n`) +
    `proxy  ${status.proxy}\n` +
    `store  ${storeText(status.store)}\n\n`;
  if (status.images.length === 0) return `${head}no images yet: ctr-starlight pull REFERENCE\n`;
  const rows = status.images.map((image) => [
    image.reference,
    image.platform,
    stateText(image),
    `${image.contentsArrived}/${image.contentsTotal}`,
    `${formatBytes(image.bytesArrived)}/${formatBytes(image.bytesTotal)}`,
    image.form,
    image.mounted ? 'yes' : 'no',
    image.manifestDigest.slice(0, 19),
  ]);
  return (
    head +
    formatTable([['IMAGE', 'PLATFORM', 'STATE', 'FILES', 'SIZE', 'FORM', 'MOUNTED', 'MANIFEST'], ...rows])
  );
}

function storeText({
  contents,
  bytes,
  quotaBytes,
  reservedBytes,
  evictableBytes,
}: StatusBody['store']): string {
  const used = `${contents} contents, ${formatBytes(bytes)}`;
  const parts = [quotaBytes === 0 ? used : `${used} of ${formatBytes(quotaBytes)}`];
  if (reservedBytes > 0) parts.push(`${formatBytes(reservedBytes)} reserved for pulls under way`);
  if (evictableBytes > 0) parts.push(`${formatBytes(evictableBytes)} evictable`);
  return parts.join(', ');
}

function stateText(image: StatusBody['images'][number]): string {
  if (image.error !== undefined) return `${image.state}: ${image.error}`;
  return image.evictable ? `${image.state}, evictable` : image.state;
}
