// SPDX-License-Identifier: Apache-2.0
//
// First-in first-out buffer between two stages: takes up the bursts of the one so that the other
// never idles. Also cuts the ready path, since tready comes from a register.
//
// A beat that enters is at the output one clock later. DEPTH >= 2 passes a beat every clock. A deep
// one is in block RAM, and does the same in every clock.

`default_nettype none

module axis_fifo #(
    parameter WIDTH = 8,  // bits of tdata
    parameter DEPTH = 2,  // beats it holds, any number from 1
    parameter IN_BLOCKS = DEPTH > 32  // 1: in block RAM
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] s_axis_tdata,
    input  wire             s_axis_tlast,
    input  wire             s_axis_tvalid,
    output wire             s_axis_tready,
    output wire [WIDTH-1:0] m_axis_tdata,
    output wire             m_axis_tlast,
    output wire             m_axis_tvalid,
    input  wire             m_axis_tready
);

    localparam ADDR_WIDTH  = (DEPTH > 1) ? $clog2(DEPTH) : 1;
    localparam COUNT_WIDTH = $clog2(DEPTH + 1);
    localparam [ADDR_WIDTH-1:0]  ADDR_LAST  = DEPTH[ADDR_WIDTH-1:0] - 1'b1;
    localparam [COUNT_WIDTH-1:0] COUNT_FULL = DEPTH[COUNT_WIDTH-1:0];

    generate
        if (DEPTH < 1) begin : gen_bad_depth
            error_DEPTH_must_be_at_least_1 error();
        end
    endgenerate

    reg [ADDR_WIDTH-1:0]  write_addr_reg = 0, read_addr_reg = 0;
    reg [COUNT_WIDTH-1:0] count_reg = 0;
    reg [COUNT_WIDTH-1:0] count_next;
    // Both follow from the count, and stand in registers so that they come without a comparison.
    reg                   empty_reg = 1'b1, full_reg = 1'b0;

    wire write = s_axis_tvalid && s_axis_tready;
    wire read  = m_axis_tvalid && m_axis_tready;

    wire [ADDR_WIDTH-1:0] read_addr_next = (read_addr_reg == ADDR_LAST) ? {ADDR_WIDTH{1'b0}}
                                                                        : read_addr_reg + 1'b1;

    assign s_axis_tready = !full_reg;
    assign m_axis_tvalid = !empty_reg;

    always @* begin
        count_next = count_reg;
        if (write && !read)
            count_next = count_reg + 1'b1;
        else if (read && !write)
            count_next = count_reg - 1'b1;
    end

    always @(posedge clk) begin
        if (write)
            write_addr_reg <= (write_addr_reg == ADDR_LAST) ? {ADDR_WIDTH{1'b0}}
                                                            : write_addr_reg + 1'b1;
        if (read)
            read_addr_reg <= read_addr_next;
        count_reg <= count_next;
        empty_reg <= count_next == 0;
        full_reg  <= count_next == COUNT_FULL;
        if (rst) begin
            write_addr_reg <= 0;
            read_addr_reg  <= 0;
            count_reg      <= 0;
            empty_reg      <= 1'b1;
            full_reg       <= 1'b0;
        end
    end

    generate
        if (IN_BLOCKS) begin : gen_blocks
            // The memory is read ahead, so that its output is the beat that is next. It cannot give a
            // beat in the clock after that came: one that finds none before it goes past the memory.
            reg            sole_reg = 1'b0;  // one beat is held
            reg            past_reg = 1'b0;
            reg  [WIDTH:0] past_data_reg;
            wire [WIDTH:0] stored;
            wire           first = empty_reg || (read && sole_reg);  // a beat that comes would be

            line_memory #(
                .WIDTH(WIDTH + 1), .DEPTH(DEPTH)
            ) beats (
                .clk(clk),
                .write(write), .write_addr(write_addr_reg),
                .write_data({s_axis_tlast, s_axis_tdata}),
                .read(read), .read_addr(read_addr_next), .read_data(stored)
            );

            assign {m_axis_tlast, m_axis_tdata} = past_reg ? past_data_reg : stored;

            always @(posedge clk) begin
                sole_reg <= count_next == 1;
                if (first || read)
                    past_reg <= first;
                if (first)
                    past_data_reg <= {s_axis_tlast, s_axis_tdata};
                if (rst)
                    sole_reg <= 1'b0;
            end
        end else begin : gen_registers
            reg [WIDTH:0] memory [0:DEPTH-1];

            assign {m_axis_tlast, m_axis_tdata} = memory[read_addr_reg];

            always @(posedge clk)
                if (write)
                    memory[write_addr_reg] <= {s_axis_tlast, s_axis_tdata};
        end
    endgenerate

endmodule

`default_nettype wire
