#!/usr/bin/env bash
# Lays protoc and its plugin for grpc-java, at pinned versions, in .buf/java. Both
# come as Maven artifacts; quick where they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# protoc 25 writes code for protobuf-java 3.25, which grpc-java brings, and for every
# 4.x: nobody is forced up.
protoc=3.25.9
grpc=1.83.0

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) system=linux-x86_64 ;;
Linux-aarch64) system=linux-aarch_64 ;;
Darwin-x86_64) system=osx-x86_64 ;;
Darwin-arm64) system=osx-aarch_64 ;;
*) echo "plugins.sh: there is no protoc for $(uname -s) on $(uname -m) among the Maven artifacts" >&2; exit 1 ;;
esac

# bring GROUP ARTIFACT VERSION: the program of a Maven artifact as .buf/java/ARTIFACT-VERSION.
bring() {
  local to=.buf/java/$2-$3
  [ -x "$to" ] && return
  mkdir -p .buf/java
  rm -rf .buf/java/fetched.$$
  mvn -B -Dstyle.color=never -q -ntp org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    -Dartifact="$1:$2:$3:exe:$system" -DoutputDirectory="$PWD/.buf/java/fetched.$$"
  chmod 755 ".buf/java/fetched.$$/$2-$3-$system.exe"
  # Moved into place, so that a run beside this one never starts half a program.
  mv ".buf/java/fetched.$$/$2-$3-$system.exe" "$to"
  rmdir ".buf/java/fetched.$$"
}

bring com.google.protobuf protoc $protoc
bring io.grpc protoc-gen-grpc-java $grpc
# buf.gen.yaml names them without their versions.
ln -sfn protoc-$protoc .buf/java/protoc
ln -sfn protoc-gen-grpc-java-$grpc .buf/java/protoc-gen-grpc-java
