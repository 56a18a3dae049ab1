# Completion of larderctl for bash.
_larderctl_ids()
{
	larderctl "${socket[@]}" --json list --limit 1000 2>/dev/null |
		grep -o '"id": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{16\}'
}

_larderctl_labels()
{
	larderctl "${socket[@]}" --json status 2>/dev/null |
		python3 -c 'import json, sys; print("\n".join(json.load(sys.stdin)["store"]["by_label"]))' 2>/dev/null
}

_larderctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' i words='' socket=()
	local verbs='status watch metrics list show export plan label pin unpin remove train pause resume reload verify'

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket|--config) socket+=("${COMP_WORDS[i]}" "${COMP_WORDS[i+1]}"); ((i++)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $prev in
	--socket|--config|--open) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--label) mapfile -t COMPREPLY < <(compgen -W "$(_larderctl_labels)" -- "$cur"); return ;;
	--quality|--limit|--interval|--max-use) return ;;
	esac
	case $verb in
	'') words="$verbs --socket --config --json --help --version" ;;
	watch) words='--interval' ;;
	plan) words='--max-use' ;;
	list) words='--label --quality --limit' ;;
	export) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); words='--label --quality' ;;
	train) words='--now --wait' ;;
	verify) words='--repair --force' ;;
	label) [ "$prev" = label ] && words=$(_larderctl_labels) || words=$(_larderctl_ids) ;;
	show) words="--open $(_larderctl_ids)" ;;
	pin|unpin|remove) words=$(_larderctl_ids) ;;
	esac
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _larderctl larderctl
