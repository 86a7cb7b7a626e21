import { applyLayer } from './apply-layer.ts';
import { KIND } from './kind.ts';
import type { LayerToc } from './layer-toc.ts';
import type { LayerTree } from './layer-tree.ts';
import { mergedNames, type Source } from './merged-names.ts';
import { splitPath } from './path.ts';
import type { Tree } from './tree.ts';
import { TreeWriter } from './tree-writer.ts';

/**
 * What a container sees of an image: its layers, the lowest first, applied as containerd's overlayfs
 * snapshotter applies them and merged as overlayfs merges them. Pure: the same tables give the same tree.
 *
 * As with containerd, and unlike what a naive reading of the tar suggests:
 * - times before 1970 or after 2262 become 0 (archive/time.go), a symlink's mode is 0777;
 * - an entry for the root directory changes nothing but (here) its time: containerd makes the root itself,
 *   0755 root:root;
 * - a hard link's entry has the last word on owner, mode, time and attributes of the inode;
 * - within a layer, a path may lead through symlinks of that layer; a symlink of a lower layer is replaced by
 *   a directory;
 * - a whiteout followed by a directory of that name in one layer is no whiteout any more: the directories merge;
 * - in the lowest layer whiteouts and opaque markers remove what the layer itself has put there before;
 * - a directory that is implied only takes the attributes of the nearest one below, hidden or not.
 *
 * @throws {TocError} of kind `inapplicable`, where containerd too fails to apply a layer
 */
export function mergeLayers(layers: readonly LayerToc[]): Tree {
  const trees = applyLayers(layers);
  const writer = new TreeWriter(layers, trees);
  writer.root(rootOf(trees));
  for (let next = writer.nextDirectory(); next !== undefined; next = writer.nextDirectory()) {
    mergedNames(next, (tree, name, directories) => writer.entry(tree, name, directories));
  }
  return writer.finish();
}

/** The layers applied, the uppermost first. */
function applyLayers(layers: readonly LayerToc[]): LayerTree[] {
  const trees: LayerTree[] = [];
  for (const layer of layers) {
    trees.unshift(applyLayer(layer, [...trees], (path) => mergedFile(trees, path)));
  }
  return trees;
}

function rootOf(trees: readonly LayerTree[]): readonly Source[] {
  return trees.map((tree) => ({ tree, directory: 0 }));
}

/** The file of a path, not a directory, in the merged image of `trees`, the uppermost first. */
function mergedFile(
  trees: readonly LayerTree[],
  path: Uint8Array,
): { tree: LayerTree; inode: number } | undefined {
  let sources = rootOf(trees);
  const names = splitPath(path);
  for (const [depth, bytes] of names.entries()) {
    const next: Source[] = [];
    for (const { tree, directory } of sources) {
      const name = tree.find(directory, bytes, 0, bytes.length);
      const inode = name < 0 ? -1 : tree.inodeOf(name);
      if (inode < 0) continue;
      const kind = tree.kindOf(inode);
      if (kind !== KIND.directory) {
        if (next.length > 0) break;
        return kind === KIND.whiteout || depth < names.length - 1 ? undefined : { tree, inode };
      }
      next.push({ tree, directory: name });
      if (tree.opaque[inode] === 1) break;
    }
    sources = next;
  }
  return undefined;
}
