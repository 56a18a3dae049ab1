/*
 * The --trainer role: reads the store, trains, reports over standard output, ends. It writes no file
 * and holds no read transaction longer than it takes to read a few rows. Idle CPU and disk class.
 */
#pragma once

int trainer_main(void);
