// Stargz-snapshotter's own library, for tests.
//
//	estargz-verify verify LAYER TOC_DIGEST
//
// reads an eStargz layer and verifies all of it: the table of contents against the digest given, then every
// file, read through its chunks, against the digest that the table has for it. Prints the number of files.
//
//	estargz-verify build TAR LAYER
//
// makes an eStargz layer, and prints the digest of its table of contents.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: estargz-verify verify LAYER TOC_DIGEST | build TAR LAYER")
	}
	if args[0] == "build" {
		return build(args[1], args[2])
	}
	files, err := verify(args[1], digest.Digest(args[2]))
	if err != nil {
		return err
	}
	fmt.Println(files)
	return nil
}

func build(tarPath, layerPath string) error {
	tar, err := os.ReadFile(tarPath)
	if err != nil {
		return err
	}
	blob, err := estargz.Build(io.NewSectionReader(bytes.NewReader(tar), 0, int64(len(tar))), estargz.WithChunkSize(1<<20))
	if err != nil {
		return err
	}
	defer blob.Close()
	layer, err := os.Create(layerPath)
	if err != nil {
		return err
	}
	if _, err := io.Copy(layer, blob); err != nil {
		return err
	}
	fmt.Println(blob.TOCDigest())
	return layer.Close()
}

func verify(layer string, tocDigest digest.Digest) (int, error) {
	file, err := os.Open(layer)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	reader, err := estargz.Open(io.NewSectionReader(file, 0, info.Size()))
	if err != nil {
		return 0, err
	}
	verifier, err := reader.VerifyTOC(tocDigest)
	if err != nil {
		return 0, err
	}
	root, ok := reader.Lookup("")
	if !ok {
		return 0, errors.New("no root")
	}
	return walk(reader, verifier, "", root)
}

func walk(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string, entry *estargz.TOCEntry) (int, error) {
	files := 0
	var failure error
	entry.ForeachChild(func(base string, child *estargz.TOCEntry) bool {
		full := path.Join(name, base)
		switch child.Type {
		case "dir":
			n, err := walk(reader, verifier, full, child)
			files += n
			failure = err
		case "reg":
			files++
			failure = readFile(reader, verifier, full, child)
		}
		return failure == nil
	})
	return files, failure
}

func readFile(reader *estargz.Reader, verifier estargz.TOCEntryVerifier, name string, entry *estargz.TOCEntry) error {
	content, err := reader.OpenFile(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if got := digest.NewDigest(digest.SHA256, hash); entry.Size > 0 && got.String() != entry.Digest {
		return fmt.Errorf("%s: content is %s, table of contents says %s", name, got, entry.Digest)
	}
	for offset := int64(0); offset < entry.Size; {
		chunk, ok := reader.ChunkEntryForOffset(name, offset)
		if !ok {
			return fmt.Errorf("%s: no chunk at %d", name, offset)
		}
		check, err := verifier.Verifier(chunk)
		if err != nil {
			return fmt.Errorf("%s: chunk at %d: %w", name, offset, err)
		}
		if _, err := io.Copy(check, io.NewSectionReader(content, chunk.ChunkOffset, chunk.ChunkSize)); err != nil {
			return fmt.Errorf("%s: chunk at %d: %w", name, offset, err)
		}
		if !check.Verified() {
			return fmt.Errorf("%s: chunk at %d is not what its digest says", name, offset)
		}
		offset = chunk.ChunkOffset + chunk.ChunkSize
	}
	return nil
}
