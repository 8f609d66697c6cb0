# Compare with $BASE, and keep report, verdict and exit code for the steps that follow.
set -euo pipefail

arguments=("$BASE" --format markdown)
[ -z "$CONFIG" ] || arguments+=(--config "$CONFIG")
[ "$TIME" = false ] || arguments+=(--time)

folder=$(mktemp -d "$RUNNER_TEMP/attnprof-XXXXXX")
report=$folder/report.md
code=0
attnprof guard diff "${arguments[@]}" >"$report" || code=$?
case $code in
    0) verdict=kept ;;
    1) verdict=broken ;;
    2) verdict=misconfigured ;;
    *) verdict="not measured" ;;
esac
if [ ! -s "$report" ]; then
    printf '%s\n' "<!-- attnprof guard diff -->" \
        "**attnprof guard diff**: $verdict, exit code $code; the log says why." >"$report"
fi
cat "$report"
[ -z "$PULL_REQUEST" ] || echo "$PULL_REQUEST" >"$folder/pull-request.txt"
{
    echo "folder=$folder"
    echo "report=$report"
    echo "exit-code=$code"
    echo "verdict=$verdict"
} >>"$GITHUB_OUTPUT"
