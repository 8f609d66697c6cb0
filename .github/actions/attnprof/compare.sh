# Compare with $BASE, and keep report, verdict and exit code for the steps that follow.
set -euo pipefail

arguments=("$BASE" --format markdown)
[ -z "$CONFIG" ] || arguments+=(--config "$CONFIG")
[ "$TIME" = false ] || arguments+=(--time)

folder=$(mktemp -d "$RUNNER_TEMP/attnprof-XXXXXX")
report=$folder/report.md
messages=$(mktemp "$RUNNER_TEMP/attnprof-XXXXXX")
set +e
{
    attnprof guard diff "${arguments[@]}" 2>&1 >&3 | tee "$messages" >&2
    code=${PIPESTATUS[0]}
} 3>"$report"
set -e
case $code in
    0) verdict=kept ;;
    1) verdict=broken ;;
    2) verdict=misconfigured ;;
    *) verdict="not measured" ;;
esac
if [ ! -s "$report" ]; then
    reason=$(tail -n 1 "$messages")
    echo "::error title=attnprof guard diff::${reason//%/%25}" >&2
    printf '%s\n' "<!-- attnprof guard diff -->" "**attnprof guard diff**: $verdict: $reason" >"$report"
fi
cat "$report"
[ -z "$PULL_REQUEST" ] || echo "$PULL_REQUEST" >"$folder/pull-request.txt"
{
    echo "folder=$folder"
    echo "report=$report"
    echo "exit-code=$code"
    echo "verdict=$verdict"
} >>"$GITHUB_OUTPUT"
