// Judges a cas-register history with Porcupine, for comparison with faultlab's own checker.
//
//	porcupine FILE.ndjson TIMEOUT
//
// Prints one JSON object: the verdict, and seconds for reading the file and for the check alone.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

type event struct {
	Process int             `json:"process"`
	Type    string          `json:"type"`
	F       string          `json:"f"`
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Time    int64           `json:"time"`
}

type input struct {
	f, key    string
	value     string // of read: nothing, of write: what is written
	from, to  string // of cas
	uncertain bool   // nobody knows whether it happened
}

// model is a register per key with read, write and cas; null at first. A cas that nobody saw complete may have
// found another value and done nothing.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		index := map[string]int{}
		var parts [][]porcupine.Operation
		for _, op := range history {
			key := op.Input.(input).key
			at, known := index[key]
			if !known {
				at = len(parts)
				index[key] = at
				parts = append(parts, nil)
			}
			parts[at] = append(parts[at], op)
		}
		return parts
	},
	Init: func() interface{} { return "null" },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		op := in.(input)
		switch op.f {
		case "read":
			return out.(string) == state.(string), state
		case "write":
			return true, op.value
		}
		if op.from == state.(string) {
			return true, op.to
		}
		return op.uncertain, state
	},
}

func read(path string) ([]porcupine.Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var operations []porcupine.Operation
	open := map[int]int{}
	dropped := map[int]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.Type == "invoke" {
			in := input{f: e.F, key: e.Key, value: string(e.Value), uncertain: true}
			if e.F == "cas" {
				var pair [2]json.RawMessage
				if err := json.Unmarshal(e.Value, &pair); err != nil {
					return nil, err
				}
				in.from, in.to = string(pair[0]), string(pair[1])
			}
			open[e.Process] = len(operations)
			operations = append(operations, porcupine.Operation{
				ClientId: e.Process, Input: in, Call: e.Time, Output: "", Return: math.MaxInt64})
			continue
		}
		at := open[e.Process]
		delete(open, e.Process)
		in := operations[at].Input.(input)
		switch {
		case e.Type == "ok":
			in.uncertain = false
			operations[at].Input, operations[at].Output, operations[at].Return = in, string(e.Value), e.Time
		case e.Type == "fail" || in.f == "read":
			dropped[at] = true
		}
	}
	for _, at := range open {
		if operations[at].Input.(input).f == "read" {
			dropped[at] = true
		}
	}
	kept := operations[:0]
	for at, op := range operations {
		if !dropped[at] {
			kept = append(kept, op)
		}
	}
	return kept, lines.Err()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: porcupine FILE.ndjson TIMEOUT")
		os.Exit(2)
	}
	timeout, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	started := time.Now()
	operations, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	loaded := time.Now()
	verdict := porcupine.CheckOperationsTimeout(model, operations, timeout)
	result := map[porcupine.CheckResult]string{
		porcupine.Ok: "valid", porcupine.Illegal: "invalid", porcupine.Unknown: "unknown"}[verdict]
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"result": result, "operations": len(operations),
		"readSeconds": loaded.Sub(started).Seconds(), "checkSeconds": time.Since(loaded).Seconds()})
}
