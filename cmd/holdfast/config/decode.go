package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decode fills into (a pointer to a struct with yaml tags) from text and
// reports every problem of form. It walks the syntax tree itself, since a
// decoder stops at its first error and forgets the lines that validation needs.
func decode(text []byte, into any, r *report) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		if syntax, ok := errors.AsType[yaml.Error](err); ok && syntax.GetToken() != nil {
			r.addAt(syntax.GetToken().Position.Line, "", "not YAML: %s", syntax.GetMessage())
			return
		}
		r.addAt(0, "", "not YAML: %v", err)
		return
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return
	case 1:
		d := decoder{r}
		d.value(bodies[0], reflect.ValueOf(into).Elem(), "")
	default:
		r.addAt(line(bodies[1]), "", "a second document begins here; put everything into one")
	}
}

type decoder struct{ r *report }

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil {
		return t.Position.Line
	}
	return 0
}

func (d decoder) value(n ast.Node, v reflect.Value, path string) {
	if _, seen := d.r.lines[path]; !seen && path != "" {
		d.r.lines[path] = line(n)
	}
	if n.Type() == ast.NullType {
		return // as if the key were not there
	}
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		d.wrong(n, path, "anchors, aliases and tags are not understood here; write the value out")
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Duration]():
		d.duration(n, v, path)
		return
	case reflect.TypeFor[Overrides]():
		v.Set(reflect.ValueOf(Overrides{n}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.String:
		d.text(n, v, path)
	case reflect.Int:
		d.number(n, v, path)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.wrong(n, path, "want true or false, not %s", describe(n))
			return
		}
		v.SetBool(b.Value)
	default:
		panic("configuration has a field of a type that cannot be decoded: " + v.Type().String())
	}
}

func (d decoder) wrong(n ast.Node, path, format string, args ...any) {
	d.r.bad[path] = true
	d.r.addAt(line(n), path, format, args...)
}

func (d decoder) text(n ast.Node, v reflect.Value, path string) {
	switch s := n.(type) {
	case *ast.StringNode:
		v.SetString(s.Value)
	case *ast.LiteralNode:
		v.SetString(s.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		d.wrong(n, path, "want a text, not %s; put it in quotes: %q", describe(n), n.GetToken().Value)
	default:
		d.wrong(n, path, "want a text, not %s", describe(n))
	}
}

func (d decoder) number(n ast.Node, v reflect.Value, path string) {
	i, err := strconv.Atoi(n.GetToken().Value)
	if _, ok := n.(*ast.IntegerNode); !ok || err != nil {
		d.wrong(n, path, "want a whole number, not %s", describe(n))
		return
	}
	v.SetInt(int64(i))
}

func (d decoder) duration(n ast.Node, v reflect.Value, path string) {
	const want = `want a duration with its unit, such as "30s" or "10m"`
	s, ok := n.(*ast.StringNode)
	if !ok {
		d.wrong(n, path, want+", not %s", describe(n))
		return
	}
	parsed, err := time.ParseDuration(s.Value)
	switch {
	case err != nil:
		d.wrong(n, path, want+", not %q", s.Value)
	case parsed < 0:
		d.wrong(n, path, "a negative duration: %s", s.Value)
	default:
		v.SetInt(int64(parsed))
	}
}

func (d decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrong(n, path, "want a list, not %s; write [a, b] or one \"- item\" a line", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
}

func (d decoder) mapping(n ast.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key, at string, pair *ast.MappingValueNode) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(pair.Value, item, at)
		out.SetMapIndex(reflect.ValueOf(key), item)
	})
	v.Set(out)
}

func (d decoder) object(n ast.Node, v reflect.Value, path string) {
	index := map[string]int{}
	var known []string
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "-" {
			index[name] = i
			known = append(known, name)
		}
	}
	d.pairs(n, path, func(key, at string, pair *ast.MappingValueNode) {
		i, ok := index[key]
		if !ok {
			d.r.addAt(line(pair.Key), at, "unknown key; %s", suggest(key, known))
			return
		}
		d.value(pair.Value, v.Field(i), at)
	})
}

// pairs calls visit for each key of a mapping, and reports keys that come twice.
func (d decoder) pairs(n ast.Node, path string, visit func(key, at string, pair *ast.MappingValueNode)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.wrong(n, path, "want a section of keys, not %s", describe(n))
		return
	}
	seen := map[string]int{}
	for iter := m.MapRange(); iter.Next(); {
		pair := iter.KeyValue()
		if _, isText := pair.Key.(*ast.StringNode); !isText {
			d.wrong(pair.Key, path, "want a plain text as key, not %s", pair.Key.GetToken().Value)
			continue
		}
		key := pair.Key.GetToken().Value
		at := strings.TrimPrefix(path+"."+key, ".")
		if first, twice := seen[key]; twice {
			d.r.addAt(line(pair.Key), at, "the key is here a second time (first in line %d); keep one", first)
			continue
		}
		seen[key] = line(pair.Key)
		d.r.lines[at] = line(pair.Key)
		visit(key, at, pair)
	}
}

// describe names a node's type for people.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return fmt.Sprintf("the text %q", n.GetToken().Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a section of keys"
	default:
		return "this"
	}
}
