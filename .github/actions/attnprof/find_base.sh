# Write the commit to compare with to $GITHUB_OUTPUT; fetch it if the clone lacks it.
set -euo pipefail

fail() {
    echo "::error title=attnprof::$1" >&2
    exit 2
}

is_here() { git rev-parse --quiet --verify "$1^{commit}" >/dev/null; }

base_of_the_pull_request() {
    # What actions/checkout checks out merges the pull request into its base, the first parent. A
    # shallow clone hides the parents from everything but the commit's own text.
    if [ "$(git rev-parse HEAD)" = "$MERGE_COMMIT" ]; then
        git cat-file commit HEAD | awk '$1 == "parent" && !found++ { print $2 }'
    else
        git merge-base HEAD "$PULL_REQUEST_BASE" 2>/dev/null || true
    fi
}

git rev-parse --git-dir >/dev/null || fail "no git repository: check it out first, by actions/checkout"
if [ -z "$BASE" ]; then
    case $EVENT in
        pull_request) BASE=$(base_of_the_pull_request) ;;
        merge_group) BASE=$MERGE_QUEUE_BASE ;;
        push) BASE=$BEFORE ;; # zeros for a new branch
    esac
    [[ "$BASE" =~ [^0] ]] ||
        fail "no base found for this $EVENT: set base:, or fetch-depth: 0 in actions/checkout"
fi
if ! is_here "$BASE"; then
    depth=
    [ "$(git rev-parse --is-shallow-repository)" = false ] || depth=--depth=1
    if git fetch --quiet --no-tags ${depth:+"$depth"} origin "$BASE"; then
        BASE=FETCH_HEAD
    fi
fi
is_here "$BASE" ||
    fail "base $BASE: not in this clone, nor to be fetched: set fetch-depth: 0 in actions/checkout"
BASE=$(git rev-parse "$BASE^{commit}")
echo "comparing with $BASE"
echo "base=$BASE" >>"$GITHUB_OUTPUT"
