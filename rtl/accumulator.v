// SPDX-License-Identifier: Apache-2.0
//
// Running sums of GROUPS output channels that take turns at one dot product.
//
//   acc = (first ? bias : what this group had before) + sum, a clock after `sum`
//
// The groups of successive sums are 0, 1, ..., GROUPS - 1, 0, ... It is exact as long as the final
// result fits: the arithmetic is modulo 2^ACC_WIDTH.

`default_nettype none

module accumulator #(
    parameter GROUPS      = 1,   // sums kept at a time
    parameter SUM_WIDTH   = 16,
    parameter ACC_WIDTH   = 32,
    parameter GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1
) (
    input  wire                          clk,
    input  wire                          enable,     // `sum` is one
    input  wire                          first,      // it is the first of its result
    input  wire        [GROUP_WIDTH-1:0] next_group, // of the sum that is two clocks away
    input  wire signed [ACC_WIDTH-1:0]   bias,
    input  wire signed [SUM_WIDTH-1:0]   sum,
    output wire signed [ACC_WIDTH-1:0]   acc
);

    wire signed [ACC_WIDTH-1:0] resized;
    wire signed [ACC_WIDTH-1:0] previous;
    wire signed [ACC_WIDTH-1:0] total = (first ? bias : previous) + resized;

    generate
        if (ACC_WIDTH > SUM_WIDTH) begin : gen_extend
            assign resized = {{(ACC_WIDTH-SUM_WIDTH){sum[SUM_WIDTH-1]}}, sum};
        end else if (ACC_WIDTH < SUM_WIDTH) begin : gen_narrow
            wire unused = &{1'b0, sum[SUM_WIDTH-1:ACC_WIDTH]};
            assign resized = sum[ACC_WIDTH-1:0];
        end else begin : gen_same
            assign resized = sum;
        end

        if (GROUPS > 2) begin : gen_memory
            // Reading takes two clocks, as the memory may be a slow block RAM. A sum is written in
            // the clock that adds it, so it is there when its group comes again, at the earliest
            // three sums later.
            reg         [GROUP_WIDTH-1:0] next_group_reg, group_reg;
            reg  signed [ACC_WIDTH-1:0]   acc_reg, previous_reg;
            wire        [ACC_WIDTH-1:0]   read_data;

            line_memory #(
                .WIDTH(ACC_WIDTH), .DEPTH(GROUPS), .ADDR_WIDTH(GROUP_WIDTH)
            ) sums (
                .clk(clk),
                .write(enable), .write_addr(group_reg), .write_data(total),
                .read(1'b1), .read_addr(next_group), .read_data(read_data)
            );

            assign previous = previous_reg;
            assign acc      = acc_reg;

            always @(posedge clk) begin
                next_group_reg <= next_group;
                group_reg      <= next_group_reg;
                previous_reg   <= read_data;
                acc_reg        <= total;
            end
        end else begin : gen_registers
            // The oldest sum is the one whose turn it is.
            reg  [ACC_WIDTH*GROUPS-1:0] acc_reg;
            wire                        unused = &{1'b0, next_group};

            assign previous = acc_reg[ACC_WIDTH*GROUPS-1 -: ACC_WIDTH];
            assign acc      = acc_reg[ACC_WIDTH-1:0];

            if (GROUPS == 2) begin : gen_two
                always @(posedge clk)
                    if (enable)
                        acc_reg <= {acc_reg[ACC_WIDTH-1:0], total};
            end else begin : gen_one
                always @(posedge clk)
                    if (enable)
                        acc_reg <= total;
            end
        end
    endgenerate

endmodule

`default_nettype wire
