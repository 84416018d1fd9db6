#!/usr/bin/env bash
# Builds the Java SDK: the stubs, the jar with its sources and javadoc, the classes of
# the tests, and what run.sh of conformance/ starts. Idempotent, quick when nothing has
# changed; no network once the local repository of Maven is filled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

built=target/built
runner=io/github/holdfast/client/conformance/Runner.class
sources=(src pom.xml contract.gen.yaml contract.sh plugins.sh build.sh ../../proto/holdfast/v1)
fresh() {
  [ -e $built ] && [ -e "target/runner/test-classes/$runner" ] &&
    [ -z "$(find "${sources[@]}" -newer $built ! -name '*.go')" ]
}
if fresh; then exit 0; fi

mkdir -p target
# One build at a time: the suites that call this may run side by side.
exec 9>target/lock
flock 9
if fresh; then exit 0; fi
began=$(mktemp target/began.XXXXXX)
trap 'rm -f "$began"' EXIT
# The tests run in test.sh; the class path is the conformance runner's.
MAVEN_OPTS="${MAVEN_OPTS:-} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC" mvn -B -Dstyle.color=never -q -ntp package \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
  -DskipTests -DincludeScope=test -Dmdep.outputFile=target/classpath >&2
# Apart from what Maven writes: a run of the suite is not disturbed by the next build.
rm -rf target/runner.new target/runner.old
mkdir target/runner.new
cp -r target/classes target/test-classes target/runner.new/
[ -e "target/runner.new/test-classes/$runner" ] || { echo "build.sh: something else is building in clients/java/target; run this again" >&2; exit 1; }
[ ! -e target/runner ] || mv target/runner target/runner.old
mv target/runner.new target/runner
rm -rf target/runner.old
mv "$began" $built
