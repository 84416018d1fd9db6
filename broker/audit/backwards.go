package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// backwardsChunk is how much is read at once from the end of a file.
const backwardsChunk = 256 << 10

// maxLine bounds a line: a record's fields are bounded by the contract to much
// less, and a file without newlines must not fill the memory.
const maxLine = 4 << 20

// backwards calls visit with each line of the first size bytes of f, last line
// first, without newlines, until visit returns false. offset is where the line
// begins; whole is false for a last line that has no newline. The line is valid
// during the call only.
func backwards(ctx context.Context, f io.ReaderAt, size int64, visit func(line []byte, offset int64, whole bool) bool) error {
	var buf []byte // the part [at, at+len(buf)) of the file, its lines not visited yet
	at := size
	whole := false
	for at > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(at, max(backwardsChunk, int64(len(buf)))) // doubled within a long line
		if len(buf) > maxLine {
			return fmt.Errorf("byte %d to %d: no line of the audit record is that long", at, at+int64(len(buf)))
		}
		chunk := make([]byte, n, n+int64(len(buf)))
		if _, err := f.ReadAt(chunk, at-n); err != nil {
			return fmt.Errorf("reading the audit record: %w", err)
		}
		buf = append(chunk, buf...)
		at -= n
		for {
			end := len(buf)
			if whole {
				end-- // the newline that ends the line
			}
			i := bytes.LastIndexByte(buf[:end], '\n')
			if i < 0 {
				break
			}
			// What follows the last newline of the file is no line if it is empty.
			if line := buf[i+1 : end]; whole || len(line) > 0 {
				if !visit(line, at+int64(i)+1, whole) {
					return nil
				}
			}
			buf, whole = buf[:i+1], true
		}
	}
	if len(buf) == 0 {
		return nil
	}
	if whole {
		buf = buf[:len(buf)-1]
	}
	visit(buf, 0, whole)
	return nil
}
