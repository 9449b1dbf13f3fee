# Chooses the system to start, for an initrd where no firmware does. POSIX sh; dot it, then
#
#     slot=$(lucid_select_slot /mnt/boot-config)
#
# prints A or B. The partition must be mounted for writing. A slot that waits for its trial is
# taken once: the wish is struck out, and on the medium, before anything of that slot runs. So
# whatever happens to it, the next start is of the default again.
#
# The file is lucid-boot.env, whose bytes docs/updates.md places. It is never sourced: only single
# bytes at fixed places are read, and everything else is refused.

# lucid_boot_bytes FILE OFFSET COUNT: prints bytes, line ends as blanks.
lucid_boot_bytes() {
    dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null | tr '\n' ' '
}

# lucid_select_slot DIRECTORY: prints the slot. Exit status 1 says that the file does not read,
# and that A was taken for want of anything better.
lucid_select_slot() {
    lucid_env="$1/lucid-boot.env"
    lucid_shape=$(lucid_boot_bytes "$lucid_env" 0 21)?$(lucid_boot_bytes "$lucid_env" 22 5)
    lucid_shape=$lucid_shape?$(lucid_boot_bytes "$lucid_env" 28 8)
    lucid_shape=$lucid_shape?$(lucid_boot_bytes "$lucid_env" 37 8)
    if [ "$lucid_shape" != 'lucid-boot=1 default=? try=? good_a=? good_b=' ]; then
        echo A
        return 1
    fi
    lucid_default=$(lucid_boot_bytes "$lucid_env" 21 1)
    lucid_try=$(lucid_boot_bytes "$lucid_env" 27 1)
    case $lucid_default in
        A | B) ;;
        *) echo A; return 1 ;;
    esac
    case $lucid_try in
        A) lucid_good=$(lucid_boot_bytes "$lucid_env" 36 1) ;;
        B) lucid_good=$(lucid_boot_bytes "$lucid_env" 45 1) ;;
        *) lucid_good=0 ;;
    esac
    if [ "$lucid_try" = A ] || [ "$lucid_try" = B ]; then
        # One byte, in place, on the medium before it counts.
        printf -- - | dd of="$lucid_env" bs=1 seek=27 conv=notrunc,fsync 2>/dev/null || lucid_good=0
        sync
        # What could not be struck out is not tried: it would be tried for ever.
        [ "$(lucid_boot_bytes "$lucid_env" 27 1)" = - ] || lucid_good=0
    fi
    case $lucid_good in
        1 | t) echo "$lucid_try" ;;
        *) echo "$lucid_default" ;;
    esac
}
