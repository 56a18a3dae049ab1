/*
 * Which pictures a person should name next: those whose label the network knows least (entropy of its
 * answer), unlike one another (greedy k-centre, Sener & Savarese 2018, with the Hellinger distance
 * between answers, so that ten views of one doubt are asked about once).
 */
#pragma once

/*
 * Chooses up to want of n answers p [n][k] (softmax outputs) into ret_index, the one to ask about first
 * in front. Returns how many; -ENOMEM.
 */
int suggest_choose(const float *p, int n, int k, int want, int *ret_index);
