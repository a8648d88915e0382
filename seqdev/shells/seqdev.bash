# Completion of seqdev's commands, options and names, for bash 4.4 and later. In ~/.bashrc:
#     source <(seqdev completion bash)
_seqdev_completion() {
    local -a answer
    mapfile -t answer < <(
        printf '%s\0' "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" |
            command seqdev completion bash --words 2>/dev/null
    )
    COMPREPLY=()
    case ${answer[0]-} in
        files) compopt -o default ;;
        # Already quoted, and never evaluated.
        values) COMPREPLY=("${answer[@]:1}") ;;
    esac
}
complete -o nosort -F _seqdev_completion seqdev
