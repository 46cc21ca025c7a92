// Command logcheck reads the lab's log with other people's code: golang.org/x/mod/sumdb and
// filippo.io/torchwood. Nothing here is shared with the lab's own verifier.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	commands := map[string]func([]string) error{
		"log": checkLog, "grown": checkGrown, "proof": checkProof, "cosigned": checkCosigned,
		"make": makeLog,
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// openCheckpoint verifies a note and returns the tree that it signs.
func openCheckpoint(path, vkey string) (torchwood.Checkpoint, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(verifier.Name()),
		torchwood.SingleVerifierPolicy(verifier))
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, policy)
	return checkpoint, err
}

// bearer sends an auditor's token with every request.
type bearer struct{ token string }

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request.Header.Set("authorization", "Bearer "+b.token)
	return http.DefaultTransport.RoundTrip(request)
}

// checkLog DIR VKEY URL TOKEN: every entry, over HTTP, against the checkpoint in DIR.
func checkLog(args []string) error {
	checkpoint, err := openCheckpoint(filepath.Join(args[0], "checkpoint"), args[1])
	if err != nil {
		return err
	}
	fetcher, err := torchwood.NewTileFetcher(args[2],
		torchwood.WithHTTPClient(&http.Client{Transport: bearer{args[3]}}))
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	count, all := int64(0), sha256.New()
	for index, entry := range client.AllEntries(context.Background(), checkpoint.Tree, 0) {
		if index != count {
			return fmt.Errorf("entry %d after %d", index, count)
		}
		count++
		all.Write(entry)
	}
	if err := client.Err(); err != nil {
		return err
	}
	fmt.Println(count, hex.EncodeToString(all.Sum(nil)))
	return nil
}

// folder reads tiles from a directory, for x/mod's own code.
type folder string

func (f folder) Height() int { return torchwood.TileHeight }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), torchwood.TilePath(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

// checkGrown DIR VKEY OLD: that the older checkpoint is a prefix, by x/mod's proof.
func checkGrown(args []string) error {
	now, err := openCheckpoint(filepath.Join(args[0], "checkpoint"), args[1])
	if err != nil {
		return err
	}
	old, err := openCheckpoint(args[2], args[1])
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(now.N, old.N, tlog.TileHashReader(now.Tree, folder(args[0])))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash); err != nil {
		return err
	}
	fmt.Println(old.N, now.N)
	return nil
}

// checkProof FILE VKEY: a tlog-proof whose extra data is the entry.
func checkProof(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	entry, err := torchwood.ProofExtraData(data)
	if err != nil {
		return err
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(verifier.Name()),
		torchwood.SingleVerifierPolicy(verifier))
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), data); err != nil {
		return err
	}
	fmt.Println(hex.EncodeToString(entry))
	return nil
}

// checkCosigned FILE WITNESS-VKEY: the line of a witness.
func checkCosigned(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	witness, err := torchwood.NewCosignatureVerifier(args[1])
	if err != nil {
		return err
	}
	opened, err := note.Open(data, note.VerifierList(witness))
	if err != nil {
		return err
	}
	seconds, err := torchwood.CosignatureTimestamp(opened.Sigs[0])
	fmt.Println(seconds)
	return err
}

// makeLog DIR SKEY COUNT INDEX: a log by x/mod, its tiles, bundle, checkpoint and one proof.
func makeLog(args []string) error {
	signer, err := note.NewSigner(args[1])
	if err != nil {
		return err
	}
	count, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, i := range indexes {
			found = append(found, hashes[i])
		}
		return found, nil
	})
	bundles := map[int64][]byte{}
	for n := range count {
		entry := fmt.Appendf(nil, "entry %d", n)
		added, err := tlog.StoredHashes(n, entry, reader)
		if err != nil {
			return err
		}
		hashes = append(hashes, added...)
		if bundles[n/256], err = torchwood.AppendTileEntry(bundles[n/256], entry); err != nil {
			return err
		}
	}
	write := func(name string, data []byte) error {
		path := filepath.Join(args[0], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, count) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return err
		}
		if err := write(torchwood.TilePath(tile), data); err != nil {
			return err
		}
		if tile.L == 0 {
			tile.L = -1
			if err := write(torchwood.TilePath(tile), bundles[tile.N]); err != nil {
				return err
			}
		}
	}
	root, err := tlog.TreeHash(count, reader)
	if err != nil {
		return err
	}
	checkpoint := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: count, Hash: root}}
	signed, err := note.Sign(&note.Note{Text: checkpoint.String()}, signer)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveRecord(count, index, reader)
	if err != nil {
		return err
	}
	entry := fmt.Appendf(nil, "entry %d", index)
	text := torchwood.FormatProofWithExtraData(index, entry, proof, signed)
	if err := write("made.tlog-proof", text); err != nil {
		return err
	}
	return write("checkpoint", signed)
}
