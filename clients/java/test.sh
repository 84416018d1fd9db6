#!/usr/bin/env bash
# Tests the SDK for Java: its own tests; the package, with sources and javadoc, out of a
# repository in an empty Maven project, with the README's example as it stands against a
# real `holdfast dev`; and what a cached call costs. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

export MAVEN_OPTS="${MAVEN_OPTS:-} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
version=$(cat ../../VERSION)
broker=
tmp=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
clean() {
  [ -z "$broker" ] || { kill "$broker" && wait "$broker"; } 2>/dev/null || true
  rm -rf "$tmp"
}
trap clean EXIT

./build.sh
grep -q "<version>$version</version>" pom.xml || { echo "test.sh: pom.xml does not have the version $version of the file VERSION" >&2; exit 1; }

# What public repositories of packages demand of each, beside sources and javadoc.
for part in name description url licenses developers scm; do
  grep -q "^  <$part>" pom.xml || { echo "test.sh: pom.xml has no <$part>" >&2; exit 1; }
done
jar tf "target/holdfast-client-$version.jar" >"$tmp/jar"
grep -qx META-INF/LICENSE "$tmp/jar" || { echo "test.sh: the jar has no META-INF/LICENSE" >&2; exit 1; }

# What build.sh has compiled, not once more.
mvn -B -Dstyle.color=never -ntp surefire:test >"$tmp/tests" 2>&1 || { cat "$tmp/tests" >&2; exit 1; }
grep '^\[INFO\] Tests run:.*[0-9]$\|^\[WARNING\] Tests run:.*[0-9]$' "$tmp/tests" | tail -1

# A repository of packages as one would be published, and an empty project that takes
# everything else from what this machine has: nothing is downloaded, and nothing comes
# from this directory.
mvn -B -Dstyle.color=never -q -ntp deploy:deploy-file -DrepositoryId=published -Durl="file://$tmp/published" -DpomFile=pom.xml \
  -Dfile="target/holdfast-client-$version.jar" -Dsources="target/holdfast-client-$version-sources.jar" \
  -Djavadoc="target/holdfast-client-$version-javadoc.jar" >&2
present=$(tr ':' '\n' <target/classpath | sed -n 's|/io/grpc/grpc-api/.*||p' | head -1)
mkdir -p "$tmp/empty/src/main/java"
cat >"$tmp/settings.xml" <<EOF
<settings><mirrors><mirror><id>present</id><mirrorOf>*,!published</mirrorOf><url>file://$present</url></mirror></mirrors></settings>
EOF
sed "s|@VERSION@|$version|; s|@PUBLISHED@|file://$tmp/published|" empty-project.xml >"$tmp/empty/pom.xml"
# The first block of Java in the README, as it stands.
sed -n '/^```java$/,/^```$/{/^```/!p; /^```$/q}' README.md >"$tmp/empty/src/main/java/Example.java"
mvn -B -Dstyle.color=never -q -ntp -f "$tmp/empty/pom.xml" -s "$tmp/settings.xml" -Dmaven.repo.local="$tmp/local" compile \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath -Dmdep.outputFile="$tmp/classpath" >&2
case $(cat "$tmp/classpath") in
*okhttp* | *junit*) echo "test.sh: the package brings what only some need: $(cat "$tmp/classpath")" >&2; exit 1 ;;
esac

[ -n "${HOLDFAST_BIN-}" ] || go build -C ../.. -o "$tmp/holdfast" ./cmd/holdfast
(cd "$tmp" && exec "${HOLDFAST_BIN-$tmp/holdfast}" dev --grpc-port 0 --http-port 0 --sim-port 0 --metrics-port 0 >"$tmp/dev" 2>&1) &
broker=$!
for _ in $(seq 300); do
  grep -q 'Ctrl-C' "$tmp/dev" && break
  kill -0 "$broker" 2>/dev/null || { cat "$tmp/dev" >&2; exit 1; }
  sleep 0.1
done
address=$(sed -n 's/^ *gRPC (mutual TLS) *//p' "$tmp/dev")
said=$(cd "$tmp" && HOLDFAST_ADDR=$address java -XX:TieredStopAtLevel=1 -cp "empty/target/classes:$(cat "$tmp/classpath")" Example)
case $said in
'200 {'*) echo "the README's example, in an empty project: ${said:0:60}..." ;;
*) echo "test.sh: the README's example said: $said" >&2; exit 1 ;;
esac

java -cp "target/test-classes:target/classes:$(cat target/classpath)" io.github.holdfast.client.CostBench
